"""The domain of Lathe: no Streamlit anywhere, usable from a notebook, the CLI and HTTP alike."""
