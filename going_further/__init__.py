"""Beyond the article, for readers. Run a module as: python -m going_further.NAME"""
