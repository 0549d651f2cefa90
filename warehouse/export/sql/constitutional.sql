-- an instruction and a revision of any round or a helpful answer to learn, as messages
SELECT messages, messages[1].content AS prompt_text, * EXCLUDE messages
FROM constitutional
