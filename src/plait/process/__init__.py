"""What the system is told before the loop exists: no asyncio in here."""
