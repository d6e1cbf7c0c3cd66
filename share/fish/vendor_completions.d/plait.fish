# plaitd and plait in fish: asks plait, which knows the plugins that are installed here.
set -l plait (string replace -r '/share/fish/.*' /bin/plait -- (status filename))
$plait completion fish | source
