"""``cnx smartbus``"""
