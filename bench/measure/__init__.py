"""From raw records to numbers: windows, metrics, intervals, and the certificate on them."""
