"""A failover rehearsed on the running pair: conditions, fault, measured outcome, and the roles put back."""
