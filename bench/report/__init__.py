"""The report of a study: figures, page and README, drawn from results/ alone."""
