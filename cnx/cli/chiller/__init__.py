"""``cnx chiller``"""
