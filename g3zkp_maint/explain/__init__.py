"""Why a run did or did not happen: told from the journal and the calendar alone."""
