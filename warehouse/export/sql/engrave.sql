-- an instruction and the principled answer to learn, as messages
SELECT messages, messages[1].content AS prompt_text, * EXCLUDE messages
FROM engrave
