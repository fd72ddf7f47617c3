"""BITalino with its EDA sensor."""
