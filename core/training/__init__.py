"""Fine-tuning: adapters trained from datasets and preferences, watched, resumed, compared.

A run of it is a folder that stands alone: settings, rows, and the script that trains (`script/`,
copied as it is). Lathe writes the folder, starts the script, watches its files and takes the
adapter into the registry; the same folder trains without Lathe.

Knows: the order of a fine-tune's life. Does not know: Streamlit, HTTP.
"""
