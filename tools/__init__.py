"""What the authors use and the readers need not."""
