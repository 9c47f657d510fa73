"""A web page on loopback over kubeconfigs: it shows the documents that `meshfed.views` makes, and has no opinion.

`watching` keeps what each cluster holds current, `board` makes documents of that, `server` serves them and the page,
whose files are in ``page``, and `command` is ``meshfed dashboard``.
"""
