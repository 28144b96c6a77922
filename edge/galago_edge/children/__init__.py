"""Children: the one way to have a process of one's own, that may crash, hang or be killed."""
