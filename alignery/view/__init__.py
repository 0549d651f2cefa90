"""`alignery view`: a page to look at a lake. HTML from the server, every state in the URL, JSON behind every page."""
