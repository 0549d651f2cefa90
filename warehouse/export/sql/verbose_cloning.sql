-- an instruction and the long answer to learn, as messages
SELECT messages, messages[1].content AS prompt_text, * EXCLUDE messages
FROM verbose_cloning
