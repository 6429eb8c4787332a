"""Make the report of a study, figures, page and README, from results/ alone."""
