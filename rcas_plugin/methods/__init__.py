"""One module a method; `rcas_plugin.hooks` registers them."""
