"""`stepwell doctor`: whether everything that a deployment needs is there and set as it should be."""
