"""The fault harness: breaks what Tidings depends on, under load, and proves that nothing was lost or doubled."""
