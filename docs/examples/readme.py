import cnx
from cnx.clients.chiller import ChillerClient
from cnx.clients.chiller.simulator import ChillerSimulator

with ChillerSimulator() as simulator:  # stands in for the device: a real server on a free port
    chiller = ChillerClient(simulator.listen_tcp())
    manager = cnx.ConnectionManager(chiller)
    cnx.subscribe(manager, manager.Signals.STATE_CHANGED, lambda old, new: print(old.value, "->", new.value))
    with manager:
        print(f"{chiller.supply_temperature():.0f} degrees Celsius")
        simulator.kill()
        manager.wait_until("recovering", timeout=10)
        simulator.start()
        manager.wait_until("connected", timeout=10)
        print(f"{chiller.supply_temperature():.0f} degrees Celsius")
