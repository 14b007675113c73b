// The functions' private door: an endpoint in the network, for the app and for its deployment site.

param name string
param linkName string
param location string
param tags object
param appId string
param subnetId string
param networkId string
@description('Resource group, by its id, of private DNS zones that are already there and linked; empty: a new one.')
param existingZonesId string

@description('The app\'s own name, whose last two parts are the cloud\'s domain of apps.')
param hostName string

var labels = split(hostName, '.')
var zoneName = 'privatelink.${join(skip(labels, length(labels) - 2), '.')}'

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = if (empty(existingZonesId)) {
  name: zoneName
  location: 'global'
  tags: tags
}

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = if (empty(existingZonesId)) {
  parent: zone
  name: linkName
  location: 'global'
  properties: {
    registrationEnabled: false
    resolutionPolicy: 'NxDomainRedirect'
    virtualNetwork: {
      id: networkId
    }
  }
}

resource endpoint 'Microsoft.Network/privateEndpoints@2026-01-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: [
      {
        name: 'app'
        properties: {
          privateLinkServiceId: appId
          groupIds: ['sites']
        }
      }
    ]
  }
}

resource zoneGroup 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2026-01-01' = {
  parent: endpoint
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: 'app'
        properties: {
          privateDnsZoneId: empty(existingZonesId)
            ? zone.id
            : '${existingZonesId}/providers/Microsoft.Network/privateDnsZones/${zoneName}'
        }
      }
    ]
  }
}
