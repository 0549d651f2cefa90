"""What a run does, verb by verb: plain bodies, which flows decorate and the public API calls."""
