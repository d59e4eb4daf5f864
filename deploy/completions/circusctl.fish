complete --keep-order --exclusive --command circusctl --arguments "(COMPLETE=fish circusctl -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
