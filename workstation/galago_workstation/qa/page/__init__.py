"""The page of QA: what two bundles, or one, said to recordings, to be looked at and listened to offline."""
