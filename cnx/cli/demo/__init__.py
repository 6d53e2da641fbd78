"""``cnx demo``"""
