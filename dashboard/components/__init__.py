"""Streamlit components in plain JavaScript, one folder per component."""
