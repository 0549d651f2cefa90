-- the rows of sft as conversations, turns from human and gpt
SELECT
    list_transform(messages, lambda turn: {
        'from': CASE turn.role WHEN 'user' THEN 'human' WHEN 'assistant' THEN 'gpt' ELSE turn.role END,
        'value': turn.content
    }) AS conversations,
    messages[1].content AS prompt_text, * EXCLUDE messages
FROM sft
