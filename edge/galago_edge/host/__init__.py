"""What the machine underneath gives: files, TOML, HTTP, optional libraries.

Here is what acts and knows nothing of Galago's subject, one way for each thing: a file is replaced by
:func:`~galago_edge.host.file_replacement.replace_file`, a table is read by
:func:`~galago_edge.host.toml_file.load_toml`, a web server is asked over
:class:`~galago_edge.host.http_connection.HttpConnection`.
"""
