"""What a caller gives, in any form that is known, as passages."""
