"""One module a page, or a few that belong together: a request in, its data and template out."""
