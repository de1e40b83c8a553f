"""What was measured with pprs: the study, and the tasks that it is made of."""
