"""The one way out of a sandbox: by name, through a proxy on the host that looks every connection up in the policy."""
