"""Past the article. Run as: python -m going_further.NAME"""
