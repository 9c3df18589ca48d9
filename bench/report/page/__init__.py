"""The report as one HTML file: sections from values, pictures inside, nothing from the network."""
