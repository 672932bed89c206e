"""What evaluations take: costs as measured, and a simulation of the queues between the parts."""
