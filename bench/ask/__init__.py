"""What verbs and Python programs both ask, in the words that would be typed."""
