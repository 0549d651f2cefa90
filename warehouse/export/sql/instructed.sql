-- an instruction, an input (often empty) and its output: the instances of Self-Instruct
SELECT instruction, input, output, instruction AS prompt_text, * EXCLUDE (instruction, input, output)
FROM instructed
