"""Images in class folders: listed, read, looked through before anything is written."""
