"""`atelier up`: the supervisor, its child processes, and the engines that it embeds."""
