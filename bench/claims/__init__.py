"""Published numbers put to the test: values, checks and verdicts; pure, without a GPU."""
