"""The weekly report: facts gathered by the ports, composed by pure functions, rendered as one page."""
