"""Texts that a model may have written, and that no page may run, turn or choke on."""

POISON = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>"
RTL = "\u202eevil\u202c \u0634\u0643\u0631\u0627"
LONG = "a long word " * 90_000
