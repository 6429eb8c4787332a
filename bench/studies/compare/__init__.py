"""Compare arms: the default study, and the page of every declared one."""
