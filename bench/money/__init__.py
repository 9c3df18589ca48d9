"""Cost per token and total cost of ownership: `answer.answer` puts the other modules together."""
