"""What readers take home of a run that needs the charts of the window: the report. No page."""
