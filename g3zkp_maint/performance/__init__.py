"""The weekly benchmark: how fast the messenger and what it stands on are, and whether that has become worse."""
