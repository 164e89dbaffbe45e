"""The certificates of the messenger's namespace and of what it is reached by: are they good, and for how long?"""
