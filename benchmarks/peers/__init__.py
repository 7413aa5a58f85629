"""Other ways to do the same job, each as its own best practice has it; see README.md here.

They know the job's topics and documents as JSON and import nothing of `engine`.
"""
