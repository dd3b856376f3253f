"""The lab side: what runs on lab hosts and servers. Nothing outside this package imports it."""
